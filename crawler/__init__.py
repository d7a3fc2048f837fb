"""`crawl`: fetch, time and record web APIs in bulk."""
