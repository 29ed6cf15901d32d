package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;

/** The columns of a shard reader, made once and pointed at one native batch after another. */
final class NativeBatch {

  /** What the native side fills: the number of rows, two addresses for each of three columns, one for the times. */
  static final int ROWS_AND_ADDRESSES = 8;

  private final BytesColumn data = new BytesColumn(DataTypes.BinaryType);
  private final BytesColumn partitionKey = new BytesColumn(DataTypes.StringType);
  private final BytesColumn sequenceNumber = new BytesColumn(DataTypes.StringType);
  private final MicrosColumn arrival = new MicrosColumn();
  private final ColumnarBatch columns;

  NativeBatch(UTF8String streamName) {
    columns =
        new ColumnarBatch(
            new ColumnVector[] {
              data, new ConstantColumn(streamName), partitionKey, sequenceNumber, arrival
            });
  }

  ColumnarBatch columns() {
    return columns;
  }

  void set(long[] rowsAndAddresses) {
    int rows = Math.toIntExact(rowsAndAddresses[0]);
    data.set(rows, rowsAndAddresses[1], rowsAndAddresses[2]);
    partitionKey.set(rows, rowsAndAddresses[3], rowsAndAddresses[4]);
    sequenceNumber.set(rows, rowsAndAddresses[5], rowsAndAddresses[6]);
    arrival.set(rows, rowsAndAddresses[7]);
    columns.setNumRows(rows);
  }

  void clear() {
    set(new long[ROWS_AND_ADDRESSES]);
  }
}
