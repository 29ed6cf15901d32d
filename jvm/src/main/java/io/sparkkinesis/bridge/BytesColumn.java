package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/** A binary or string column in Arrow's layout: {@code rows + 1} offsets of 32 bits, and bytes. */
final class BytesColumn extends ReadOnlyColumn {
  private int rows;
  private long offsets;
  private long bytes;

  BytesColumn(DataType type) {
    super(type);
  }

  void set(int rows, long offsets, long bytes) {
    this.rows = rows;
    this.offsets = offsets;
    this.bytes = bytes;
  }

  @Override
  public UTF8String getUTF8String(int rowId) {
    long at = offsetAddress(rowId);
    int start = Platform.getInt(null, at);
    return UTF8String.fromAddress(null, bytes + start, Platform.getInt(null, at + 4) - start);
  }

  /** A copy: Java has no other array. */
  @Override
  public byte[] getBinary(int rowId) {
    long at = offsetAddress(rowId);
    int start = Platform.getInt(null, at);
    byte[] copy = new byte[Platform.getInt(null, at + 4) - start];
    Platform.copyMemory(null, bytes + start, copy, Platform.BYTE_ARRAY_OFFSET, copy.length);
    return copy;
  }

  private long offsetAddress(int rowId) {
    if (rowId < 0 || rowId >= rows) {
      throw noRow(rowId, rows);
    }
    return offsets + 4L * rowId;
  }
}
