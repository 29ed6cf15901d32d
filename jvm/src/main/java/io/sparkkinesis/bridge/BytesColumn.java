package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/** A binary or string column: {@code rows + 1} 32-bit offsets, and the bytes they point into. */
final class BytesColumn extends NativeColumn {
  BytesColumn(DataType type) {
    super(type);
  }

  @Override
  public UTF8String getUTF8String(int rowId) {
    if (isNullAt(rowId)) {
      return null;
    }
    long at = valueAddress(rowId, 4L);
    int start = Platform.getInt(null, at);
    return UTF8String.fromAddress(null, bytes() + start, Platform.getInt(null, at + 4) - start);
  }

  /** A copy, since a Java array can't point to native memory. */
  @Override
  public byte[] getBinary(int rowId) {
    if (isNullAt(rowId)) {
      return null;
    }
    long at = valueAddress(rowId, 4L);
    int start = Platform.getInt(null, at);
    byte[] copy = new byte[Platform.getInt(null, at + 4) - start];
    Platform.copyMemory(null, bytes() + start, copy, Platform.BYTE_ARRAY_OFFSET, copy.length);
    return copy;
  }
}
