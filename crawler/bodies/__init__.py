"""Where response bodies go: a folder of files, rows of JSON lines, WARC or Parquet.

Workers write bodies where they are: none crosses to the parent. What is written before its record
is in the log, and left there by a killed worker, is found and taken away (``settling``).
"""
