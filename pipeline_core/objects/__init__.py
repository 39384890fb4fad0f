"""A store in a bucket of an S3-compatible server, with a store on the local disk as its cache (ADR 23)."""
