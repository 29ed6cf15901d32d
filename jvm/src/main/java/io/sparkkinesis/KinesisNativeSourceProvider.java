package io.sparkkinesis;

/** {@code format("aws-kinesis-native")}: the same connector where "aws-kinesis" already names another one. */
public class KinesisNativeSourceProvider extends KinesisSourceProvider {
  @Override
  public String shortName() {
    return "aws-kinesis-native";
  }
}
