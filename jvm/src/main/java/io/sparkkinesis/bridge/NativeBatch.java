package io.sparkkinesis.bridge;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** The columns of a shard reader. They are created once, and then point at one native batch after another. */
final class NativeBatch {

  // Indexes into a batch's numbers, as in rust/jni/include/sparkkinesis.h.
  /** Index of the number of rows. */
  private static final int ROWS = 0;
  /** Index of the first column; the others follow. */
  private static final int COLUMNS = 1;

  /** The columns in native memory, in the order of a batch's numbers. */
  private final List<NativeColumn> nativeColumns = new ArrayList<>();
  private final ColumnarBatch columns;

  /**
   * @param streamName the value of the one column that isn't native
   * @param names the names of the columns, in the order of the schema that Spark asks for; possibly none
   */
  NativeBatch(UTF8String streamName, String[] names) {
    ColumnVector[] all = new ColumnVector[names.length];
    for (int i = 0; i < names.length; i++) {
      if (names[i].equals("streamName")) {
        all[i] = new ConstantColumn(streamName);
      } else {
        NativeColumn column = nativeColumn(names[i]);
        nativeColumns.add(column);
        all[i] = column;
      }
    }
    columns = new ColumnarBatch(all);
  }

  private static NativeColumn nativeColumn(String name) {
    switch (name) {
      case "data":
        return new BytesColumn(DataTypes.BinaryType);
      case "partitionKey":
      case "sequenceNumber":
      case "explicitHashKey":
      case "encryptionType":
        return new BytesColumn(DataTypes.StringType);
      case "approximateArrivalTimestamp":
        return new LongsColumn(DataTypes.TimestampType);
      case "subSequenceNumber":
        return new LongsColumn(DataTypes.LongType);
      case "shardId":
        return new SameTextColumn();
      default:
        throw new IllegalStateException("the library has a column that is not known here: " + name);
    }
  }

  ColumnarBatch columns() {
    return columns;
  }

  /** An array of the length that the native side fills. */
  long[] newNumbers() {
    return new long[COLUMNS + NativeColumn.NUMBERS * nativeColumns.size()];
  }

  /** Points the columns at a native batch. */
  void set(long[] numbers) {
    int rows = Math.toIntExact(numbers[ROWS]);
    int at = COLUMNS;
    for (NativeColumn column : nativeColumns) {
      column.set(rows, numbers, at);
      at += NativeColumn.NUMBERS;
    }
    columns.setNumRows(rows);
  }

  void clear() {
    set(newNumbers());
  }
}
