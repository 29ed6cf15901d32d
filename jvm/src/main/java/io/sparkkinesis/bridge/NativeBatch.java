package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** The columns of a shard reader, made once and pointed at one native batch after another. */
final class NativeBatch {

  /** The columns that every batch has on the native side. */
  private static final int USUAL = 4;

  /** The native columns in the order of their numbers. */
  private final NativeColumn[] nativeColumns;
  private final ColumnarBatch columns;

  /**
   * @param streamName the value of the one column that isn't native
   * @param extraColumns the names of the columns that were asked for beyond the usual ones
   */
  NativeBatch(UTF8String streamName, String[] extraColumns) {
    NativeColumn data = new BytesColumn(DataTypes.BinaryType);
    NativeColumn partitionKey = new BytesColumn(DataTypes.StringType);
    NativeColumn sequenceNumber = new BytesColumn(DataTypes.StringType);
    NativeColumn arrival = new LongsColumn(DataTypes.TimestampType);
    nativeColumns = new NativeColumn[USUAL + extraColumns.length];
    nativeColumns[0] = data;
    nativeColumns[1] = partitionKey;
    nativeColumns[2] = sequenceNumber;
    nativeColumns[3] = arrival;
    ColumnVector[] all = new ColumnVector[USUAL + 1 + extraColumns.length];
    all[0] = data;
    all[1] = new ConstantColumn(streamName);
    all[2] = partitionKey;
    all[3] = sequenceNumber;
    all[4] = arrival;
    for (int i = 0; i < extraColumns.length; i++) {
      NativeColumn extra = extraColumn(extraColumns[i]);
      nativeColumns[USUAL + i] = extra;
      all[USUAL + 1 + i] = extra;
    }
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
    return new long[1 + NativeColumn.NUMBERS * nativeColumns.length];
  }

  /** Points the columns at a native batch: its number of rows, then the numbers of each column. */
  void set(long[] numbers) {
    int rows = Math.toIntExact(numbers[0]);
    for (int i = 0; i < nativeColumns.length; i++) {
      nativeColumns[i].set(rows, numbers, 1 + NativeColumn.NUMBERS * i);
    }
    columns.setNumRows(rows);
  }

  void clear() {
    set(newNumbers());
  }
}
