"""A stream, for producers and for checks of its content."""

import hashlib

from .waiting import await_condition

MOST_RECORDS = 500
MOST_BYTES = 4 * 1024 * 1024


class Stream:
    """A stream by its name. Puts records with PutRecords, and reads them as the service returns them."""

    def __init__(self, client, name):
        self.client = client
        self.name = name

    @classmethod
    def create(cls, client, name, shards=1):
        client.create_stream(StreamName=name, ShardCount=shards)
        stream = cls(client, name)
        stream._await_active()
        return stream

    def _await_active(self):
        def active():
            answer = self.client.describe_stream_summary(StreamName=self.name)
            return answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

        await_condition(active, f"the stream {self.name} to be active")

    def delete(self):
        self.client.delete_stream(StreamName=self.name, EnforceConsumerDeletion=True)

    @property
    def arn(self):
        return self.client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamARN"]

    def consumers(self):
        """The registered consumers' ARNs, by name."""
        consumers = self.client.list_stream_consumers(StreamARN=self.arn)["Consumers"]
        return {consumer["ConsumerName"]: consumer["ConsumerARN"] for consumer in consumers}

    def put(self, records):
        """Puts records (partition key, data) or (partition key, data, explicit hash key) in order, and repeats refused
        ones. An empty partition key is left out, for streams that allow that."""
        batch, size = [], 0
        for record in records:
            entry = {"PartitionKey": record[0], "Data": record[1]} if record[0] else {"Data": record[1]}
            if len(record) > 2:
                entry["ExplicitHashKey"] = record[2]
            length = len(record[1]) + len(record[0])
            if batch and (len(batch) == MOST_RECORDS or size + length > MOST_BYTES):
                self._put_batch(batch)
                batch, size = [], 0
            batch.append(entry)
            size += length
        if batch:
            self._put_batch(batch)

    def _put_batch(self, batch):
        while batch:
            answer = self.client.put_records(StreamName=self.name, Records=batch)
            batch = [entry for entry, result in zip(batch, answer["Records"]) if "ErrorCode" in result]

    def shards(self, open_only=False):
        """The shards, as returned by ListShards."""
        shards, more = [], {"StreamName": self.name}
        while more:
            answer = self.client.list_shards(**more)
            shards += answer["Shards"]
            more = {"NextToken": answer["NextToken"]} if "NextToken" in answer else None
        return [s for s in shards if not open_only or "EndingSequenceNumber" not in s["SequenceNumberRange"]]

    def shard_of(self, partition_key):
        """The open shard of a partition key."""
        return self.shard_of_hash(int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big"))

    def shard_of_hash(self, hash_key):
        """The open shard of a hash key."""
        for shard in self.shards(open_only=True):
            bounds = shard["HashKeyRange"]
            if int(bounds["StartingHashKey"]) <= hash_key <= int(bounds["EndingHashKey"]):
                return shard["ShardId"]
        raise ValueError(f"no open shard of {self.name} takes {hash_key}")

    def split(self, shard_id):
        """Splits a shard in the middle."""
        bounds = next(s for s in self.shards() if s["ShardId"] == shard_id)["HashKeyRange"]
        middle = (int(bounds["StartingHashKey"]) + int(bounds["EndingHashKey"])) // 2
        self.client.split_shard(StreamName=self.name, ShardToSplit=shard_id, NewStartingHashKey=str(middle))
        self._await_active()

    def merge(self, shard_id, adjacent):
        self.client.merge_shards(StreamName=self.name, ShardToMerge=shard_id, AdjacentShardToMerge=adjacent)
        self._await_active()

    def scale_to(self, count):
        """Splits and merges until `count` shards are open (UpdateShardCount)."""
        self.client.update_shard_count(StreamName=self.name, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        self._await_active()

    def read_shard(self, shard_id):
        """All records of a shard, oldest first."""
        iterator = self.client.get_shard_iterator(
            StreamName=self.name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = []
        while iterator:
            answer = self.client.get_records(ShardIterator=iterator, Limit=10_000)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
        return records

    def read(self):
        """All records of all shards, including closed ones. Each has its ShardId besides the service's fields."""
        return [
            {**record, "ShardId": shard["ShardId"]}
            for shard in self.shards()
            for record in self.read_shard(shard["ShardId"])
        ]
