package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.Platform;

/** A timestamp column: microseconds of 64 bits. */
final class MicrosColumn extends ReadOnlyColumn {
  private int rows;
  private long values;

  MicrosColumn() {
    super(DataTypes.TimestampType);
  }

  void set(int rows, long values) {
    this.rows = rows;
    this.values = values;
  }

  @Override
  public long getLong(int rowId) {
    if (rowId < 0 || rowId >= rows) {
      throw noRow(rowId, rows);
    }
    return Platform.getLong(null, values + 8L * rowId);
  }
}
