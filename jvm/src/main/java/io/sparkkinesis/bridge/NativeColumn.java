package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataType;
import org.apache.spark.unsafe.Platform;

/** A column of a native batch, in Arrow's layout. */
abstract class NativeColumn extends ReadOnlyColumn {

  // Indexes into a column's numbers, as in rust/jni/include/sparkkinesis.h.
  /** Address of the validity bitmap; 0 if no row is null. */
  static final int VALIDITY = 0;
  /** Position of the first row's bit in the validity bitmap. */
  static final int FIRST_BIT = 1;
  /** Address of the numbers or of the texts' offsets; 0 if every row is null. */
  static final int VALUES = 2;
  /** Address of the texts' bytes. */
  static final int BYTES = 3;
  /** Count of numbers per column. */
  static final int NUMBERS = 4;

  private int rows;
  private long validity;
  private long firstBit;
  /** Address of the numbers or offsets; 0 if every row is null. */
  private long values;
  /** Address of the texts' bytes. */
  private long bytes;

  NativeColumn(DataType type) {
    super(type);
  }

  /** Points the column at a batch of {@code rows} rows. Its numbers begin at index {@code at}. */
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

  /** Address of a row's value, or of its text's offset, with {@code width} bytes from one row to the next. */
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

  /** Refuses a row outside the live batch, whose memory may be freed. */
  final void check(int rowId) {
    if (rowId < 0 || rowId >= rows) {
      throw new IllegalStateException(
          "row " + rowId + " of a batch of " + rows + " rows: the batch is read past its end, or after its life");
    }
  }
}
