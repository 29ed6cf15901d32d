/* What Java and the native library agree on. Made from rust/jni/src/layout.rs and
 * rust/connector/src/error.rs: UPDATE_HEADER=1 cargo test -p spark-kinesis-jni --lib layout */

#ifndef SPARKKINESIS_H
#define SPARKKINESIS_H

#include <stdint.h>

/**
 * Changes with every change of the native methods or of what they mean. The Java side has the same number, and refuses
 * a library with another one.
 */
#define ABI_VERSION 10

/**
 * The length of a value that a row doesn't have.
 */
#define NO_VALUE -1

/**
 * The levels of the log: nothing is logged.
 */
#define LOG_OFF 0

/**
 * Errors are logged.
 */
#define LOG_ERROR 1

/**
 * Warnings, too.
 */
#define LOG_WARN 2

/**
 * What happens, too.
 */
#define LOG_INFO 3

/**
 * Details, too.
 */
#define LOG_DEBUG 4

/**
 * Everything.
 */
#define LOG_TRACE 5

/**
 * What a native method that waits answers.
 */
enum Status
#if __STDC_VERSION__ >= 202311L
  : int32_t
#endif // __STDC_VERSION__ >= 202311L
 {
  /**
   * Not done yet: call again with the same arguments.
   */
  STATUS_AGAIN = 0,
  /**
   * Done, with a result where the operation has one.
   */
  STATUS_DONE = 1,
  /**
   * Done, and there is no result: the batch's end, nothing new, no report.
   */
  STATUS_NONE = 2,
};
#if __STDC_VERSION__ >= 202311L
typedef enum Status Status;
#else
typedef int32_t Status;
#endif // __STDC_VERSION__ >= 202311L

/**
 * The kind of a failure. The numbers cross the JNI boundary and never change their meaning.
 */
enum ErrorKind
#if __STDC_VERSION__ >= 202311L
  : int32_t
#endif // __STDC_VERSION__ >= 202311L
 {
  /**
   * A defect in the connector, including panics that the guard caught.
   */
  ERROR_KIND_INTERNAL = 1,
  /**
   * An option's key or value was refused.
   */
  ERROR_KIND_INVALID_OPTION = 2,
  /**
   * A feature of the design that this version lacks.
   */
  ERROR_KIND_NOT_SUPPORTED = 3,
  /**
   * The stream, or another named resource, does not exist.
   */
  ERROR_KIND_NOT_FOUND = 4,
  /**
   * Credentials are missing, wrong, or lack a permission.
   */
  ERROR_KIND_ACCESS = 5,
  /**
   * The service throttled the requests until all retries were used up.
   */
  ERROR_KIND_THROTTLED = 6,
  /**
   * The service was unreachable, or returned a server error after all retries.
   */
  ERROR_KIND_TRANSPORT = 7,
  /**
   * The service rejected the request as invalid.
   */
  ERROR_KIND_INVALID_REQUEST = 8,
  /**
   * A KMS key that encrypts the stream can't be used.
   */
  ERROR_KIND_KMS = 9,
  /**
   * Records expired, or a shard was deleted, before they were read.
   */
  ERROR_KIND_DATA_LOSS = 10,
  /**
   * Another attempt claimed a nearer end for this shard and batch; the retry reads exactly to it.
   */
  ERROR_KIND_CLAIM_CONFLICT = 11,
  /**
   * The checkpoint store failed.
   */
  ERROR_KIND_STORE = 12,
  /**
   * Data in a checkpoint can't be understood.
   */
  ERROR_KIND_CORRUPT_CHECKPOINT = 13,
  /**
   * The stream is not the one that the checkpoint belongs to.
   */
  ERROR_KIND_STREAM_CHANGED = 14,
  /**
   * A row can't be written as a Kinesis record.
   */
  ERROR_KIND_INVALID_ROW = 15,
  /**
   * The service did not accept every record within the retries allowed.
   */
  ERROR_KIND_PUT_FAILED = 16,
  /**
   * A handle is stale, was closed, or is of another type.
   */
  ERROR_KIND_INVALID_HANDLE = 17,
  /**
   * The operation was stopped because its task or query was.
   */
  ERROR_KIND_INTERRUPTED = 18,
  /**
   * The shard iterator is older than five minutes; a new one is needed.
   */
  ERROR_KIND_EXPIRED_ITERATOR = 19,
  /**
   * An argument passed across the boundary is malformed.
   */
  ERROR_KIND_INVALID_ARGUMENT = 20,
  /**
   * A record marked as an aggregate can't be taken apart.
   */
  ERROR_KIND_MALFORMED_RECORD = 21,
  /**
   * The service rejects the position at which a shard was to be read.
   */
  ERROR_KIND_REFUSED_POSITION = 22,
  /**
   * The resource is in use: a consumer that has a subscription, or a stream that is being changed.
   */
  ERROR_KIND_IN_USE = 23,
};
#if __STDC_VERSION__ >= 202311L
typedef enum ErrorKind ErrorKind;
#else
typedef int32_t ErrorKind;
#endif // __STDC_VERSION__ >= 202311L

/**
 * A column of a batch, in Arrow's layout.
 */
struct NativeColumn {
  /**
   * The address of the validity bitmap, 0 where no row is null.
   */
  int64_t validity;
  /**
   * The first row's bit in it.
   */
  int64_t first_bit;
  /**
   * The address of the numbers or of the texts' offsets, 0 where every row is null.
   */
  int64_t values;
  /**
   * The address of the texts' bytes.
   */
  int64_t bytes;
};

/**
 * What `readerNext` fills its array of 64-bit numbers with. The columns follow, each a `NativeColumn`, in the order of
 * `readerColumns` and without `streamName`, whose value is that of `readerStreamName` in every row.
 */
struct NativeBatch {
  /**
   * How many rows the batch has.
   */
  int64_t rows;
};

/**
 * How a row begins in the buffer of `writerWrite`, all of it little-endian: how many bytes each of its values has. The
 * bytes follow in the same order, and then the next row.
 */
struct RowLengths {
  /**
   * Of the partition key, or `NO_VALUE`.
   */
  int32_t partition_key;
  /**
   * Of the data, which every row has.
   */
  int32_t data;
  /**
   * Of the explicit hash key, or `NO_VALUE`.
   */
  int32_t explicit_hash_key;
  /**
   * Of the stream's name, or `NO_VALUE`.
   */
  int32_t stream_name;
};

#endif  /* SPARKKINESIS_H */
