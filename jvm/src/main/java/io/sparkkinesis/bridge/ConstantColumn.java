package io.sparkkinesis.bridge;

import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.types.UTF8String;

/** A string column with the same value in every row. */
final class ConstantColumn extends ReadOnlyColumn {
  private final UTF8String value;

  ConstantColumn(UTF8String value) {
    super(DataTypes.StringType);
    this.value = value;
  }

  @Override
  public boolean hasNull() {
    return false;
  }

  @Override
  public int numNulls() {
    return 0;
  }

  @Override
  public boolean isNullAt(int rowId) {
    return false;
  }

  @Override
  public UTF8String getUTF8String(int rowId) {
    return value;
  }
}
