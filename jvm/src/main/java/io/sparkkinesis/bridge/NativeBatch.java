package io.sparkkinesis.bridge;

import java.util.Arrays;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** The columns of a shard reader. They are created once, and then point at one native batch after another. */
final class NativeBatch {

  // Indexes into a batch's numbers, as in rust/jni/include/sparkkinesis.h.
  /** Index of the number of rows. */
  private static final int ROWS = 0;
  /** Index of the first column that every batch has. */
  private static final int DATA = 1;
  private static final int PARTITION_KEY = 5;
  private static final int SEQUENCE_NUMBER = 9;
  private static final int ARRIVAL = 13;
  /** Index of the first extra column; the others follow. */
  private static final int EXTRA = 17;

  private final NativeColumn data = new BytesColumn(DataTypes.BinaryType);
  private final NativeColumn partitionKey = new BytesColumn(DataTypes.StringType);
  private final NativeColumn sequenceNumber = new BytesColumn(DataTypes.StringType);
  private final NativeColumn arrival = new LongsColumn(DataTypes.TimestampType);
  private final NativeColumn[] extra;
  private final ColumnarBatch columns;

  /**
   * @param streamName the value of the one column that isn't native
   * @param extraColumns the names of {@code kinesis.extraColumns}, in its order
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

  /** An array of the length that the native side fills. */
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
