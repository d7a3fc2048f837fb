"""Scheduled data pulls: a job file's targets asked again and again, and what changed kept."""
