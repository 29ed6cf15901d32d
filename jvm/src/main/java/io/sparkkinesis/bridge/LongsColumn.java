package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;

/** A column of 64-bit integers: a bigint, or a timestamp in microseconds. */
final class LongsColumn extends NativeColumn {
  LongsColumn(DataType type) {
    super(type);
  }

  @Override
  public long getLong(int rowId) {
    return Platform.getLong(null, valueAddress(rowId, 8L));
  }
}
