package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;

/** A column of numbers of 64 bits: a bigint, or a timestamp in microseconds. */
final class LongsColumn extends NativeColumn {
  LongsColumn(DataType type) {
    super(type);
  }

  @Override
  public long getLong(int rowId) {
    return Platform.getLong(null, valueAddress(rowId, 8L));
  }
}
