package io.sparkkinesis.bridge;

import java.util.Arrays;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** The columns of a shard reader, made once and pointed at one native batch after another. */
final class NativeBatch {

  // Where a batch's numbers lie, as rust/jni/include/sparkkinesis.h says.
  /** The number of rows. */
  private static final int ROWS = 0;
  /** The columns that every batch has. */
  private static final int DATA = 1;
  private static final int PARTITION_KEY = 5;
  private static final int SEQUENCE_NUMBER = 9;
  private static final int ARRIVAL = 13;
  /** The extra columns, one after another. */
  private static final int EXTRA = 17;

  private final NativeColumn data = new BytesColumn(DataTypes.BinaryType);
  private final NativeColumn partitionKey = new BytesColumn(DataTypes.StringType);
  private final NativeColumn sequenceNumber = new BytesColumn(DataTypes.StringType);
  private final NativeColumn arrival = new LongsColumn(DataTypes.TimestampType);
  private final NativeColumn[] extra;
  private final ColumnarBatch columns;

  /**
   * @param streamName the value of the one column that isn't native
   * @param extraColumns the names of the columns that were asked for beyond the usual ones
   */
  NativeBatch(UTF8String streamName, String[] extraColumns) {
    extra = new NativeColumn[extraColumns.length];
    for (int i = 0; i < extra.length; i++) {
      extra[i] = extraColumn(extraColumns[i]);
    }
    ColumnVector[] usual = {data, new ConstantColumn(streamName), partitionKey, sequenceNumber, arrival};
    ColumnVector[] all = Arrays.copyOf(usual, usual.length + extra.length);
    System.arraycopy(extra, 0, all, usual.length, extra.length);
    columns = new ColumnarBatch(all);
  }

  private static NativeColumn extraColumn(String name) {
    switch (name) {
      case "shardId":
        return new SameTextColumn();
      case "subSequenceNumber":
        return new LongsColumn(DataTypes.LongType);
      case "explicitHashKey":
      case "encryptionType":
        return new BytesColumn(DataTypes.StringType);
      default:
        throw new IllegalStateException("the library has a column that is not known here: " + name);
    }
  }

  ColumnarBatch columns() {
    return columns;
  }

  /** As many numbers as the native side fills. */
  long[] newNumbers() {
    return new long[EXTRA + NativeColumn.NUMBERS * extra.length];
  }

  /** Points the columns at a native batch. */
  void set(long[] numbers) {
    int rows = Math.toIntExact(numbers[ROWS]);
    data.set(rows, numbers, DATA);
    partitionKey.set(rows, numbers, PARTITION_KEY);
    sequenceNumber.set(rows, numbers, SEQUENCE_NUMBER);
    arrival.set(rows, numbers, ARRIVAL);
    for (int i = 0; i < extra.length; i++) {
      extra[i].set(rows, numbers, EXTRA + NativeColumn.NUMBERS * i);
    }
    columns.setNumRows(rows);
  }

  void clear() {
    set(newNumbers());
  }
}
