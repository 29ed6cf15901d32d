package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/** A string column with one value per batch, the same in all of its rows: two offsets, and the bytes. */
final class SameTextColumn extends NativeColumn {
  SameTextColumn() {
    super(DataTypes.StringType);
  }

  @Override
  public UTF8String getUTF8String(int rowId) {
    long at = valueAddress(rowId, 0L);
    int start = Platform.getInt(null, at);
    return UTF8String.fromAddress(null, bytes() + start, Platform.getInt(null, at + 4) - start);
  }
}
