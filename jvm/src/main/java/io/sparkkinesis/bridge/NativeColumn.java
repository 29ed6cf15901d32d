package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;

/** A column of a native batch, in Arrow's layout. */
abstract class NativeColumn extends ReadOnlyColumn {

  // Where a column's numbers lie, as rust/jni/include/sparkkinesis.h says.
  /** The address of the validity bitmap, 0 where no row is null. */
  static final int VALIDITY = 0;
  /** The first row's bit in it. */
  static final int FIRST_BIT = 1;
  /** The address of the numbers or of the texts' offsets, 0 where every row is null. */
  static final int VALUES = 2;
  /** The address of the texts' bytes. */
  static final int BYTES = 3;
  /** How many numbers a column has. */
  static final int NUMBERS = 4;

  private int rows;
  private long validity;
  private long firstBit;
  /** The address of the numbers or offsets. */
  private long values;
  /** The address of the texts' bytes. */
  private long bytes;

  NativeColumn(DataType type) {
    super(type);
  }

  /** Points the column at a batch with so many rows, by the numbers from {@code at} on. */
  final void set(int rows, long[] numbers, int at) {
    this.rows = rows;
    validity = numbers[at + VALIDITY];
    firstBit = numbers[at + FIRST_BIT];
    values = numbers[at + VALUES];
    bytes = numbers[at + BYTES];
  }

  @Override
  public final boolean hasNull() {
    return rows > 0 && (validity != 0 || values == 0);
  }

  @Override
  public final int numNulls() {
    if (!hasNull()) {
      return 0;
    }
    int nulls = 0;
    for (int row = 0; row < rows; row++) {
      if (isNullAt(row)) {
        nulls++;
      }
    }
    return nulls;
  }

  @Override
  public final boolean isNullAt(int rowId) {
    if (validity == 0 && values != 0) {
      return false;
    }
    check(rowId);
    if (values == 0) {
      return true;
    }
    long bit = firstBit + rowId;
    return (Platform.getByte(null, validity + (bit >> 3)) >> (bit & 7) & 1) == 0;
  }

  /** The address of a row's value, or of its text's offset, if its values are so many bytes apart. */
  final long valueAddress(int rowId, long width) {
    check(rowId);
    if (values == 0) {
      throw new IllegalStateException("row " + rowId + " is null");
    }
    return values + width * rowId;
  }

  final long bytes() {
    return bytes;
  }

  /** A read outside a live batch must not become a read of memory that is freed. */
  final void check(int rowId) {
    if (rowId < 0 || rowId >= rows) {
      throw new IllegalStateException(
          "row " + rowId + " of a batch of " + rows + " rows: the batch is read past its end, or after its life");
    }
  }
}
