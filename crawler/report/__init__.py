"""Reports: the figures of a run as text and for machines."""
