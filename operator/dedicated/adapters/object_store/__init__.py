"""An S3 bucket: what it holds, read and written so that neither memory nor trust is needed. boto3 is known here and nowhere else."""

from dedicated.adapters.object_store.client import Found, ObjectStore, Stored

__all__ = ["Found", "ObjectStore", "Stored"]
