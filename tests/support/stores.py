"""Stores for claims that tests can choose, inspect and wipe."""

import shutil
from pathlib import Path

from local_kinesis import REGION

# A name that paths, URIs and request signatures each encode differently.
ODD = "claims of ümläut+%41 & co"


class HadoopLocal:
    """A folder on the local disk, through Hadoop's FileSystem."""

    def __init__(self, folder: Path):
        self._folder = folder
        # Hadoop takes a path's text literally, without escapes.
        self.options = {"metadataPath": f"file:{folder}"}

    def claims(self):
        """The (source, batch, shard) of each stored claim."""
        # The same folder has the driver's mark.
        files = [file for file in self._folder.rglob("*") if file.is_file() and not file.name.startswith((".", "driver"))]
        return {_key(file.relative_to(self._folder).parts) for file in files}

    def wipe(self):
        shutil.rmtree(self._folder)


class S3:
    """A path in a separate bucket."""

    def __init__(self, moto, bucket):
        self._client, self._bucket = moto.client("s3"), bucket
        self._client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.options = {"metadataPath": f"s3://{bucket}/{ODD}", "s3.endpointUrl": moto.endpoint}

    def _keys(self):
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def claims(self):
        paths = [key.split("/") for key in self._keys()]
        assert {path[0] for path in paths} <= {ODD}
        return {_key(path[1:]) for path in paths}

    def wipe(self):
        for key in self._keys():
            self._client.delete_object(Bucket=self._bucket, Key=key)


class DynamoDb:
    """A table, which the connector creates."""

    def __init__(self, moto, table):
        self._client, self._table = moto.client("dynamodb"), table
        self.options = {
            "metadataCommitterType": "DYNAMODB",
            "dynamodb.tableName": table,
            "dynamodb.endpointUrl": moto.endpoint,
        }

    def claims(self):
        pages = self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        return {
            _key([item["metadataKey"]["S"], *item["metadataSortKey"]["S"].split("/")])
            for page in pages
            for item in page["Items"]
        }

    def wipe(self):
        self._client.delete_table(TableName=self._table)


def _key(parts):
    source, batch, shard = parts
    return source, int(batch), shard


STORES = {
    "hadoop-local": lambda moto, name, folder: HadoopLocal(folder / ODD),
    "s3": lambda moto, name, folder: S3(moto, name),
    "dynamodb": lambda moto, name, folder: DynamoDb(moto, name),
}
