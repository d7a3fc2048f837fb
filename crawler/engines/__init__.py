"""Engines: what makes single HTTP exchanges, behind one protocol (``base``)."""
