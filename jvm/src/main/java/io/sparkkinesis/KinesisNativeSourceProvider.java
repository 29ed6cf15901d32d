package io.sparkkinesis;

/** {@code format("aws-kinesis-native")}: this connector's name where "aws-kinesis" belongs to another connector. */
public class KinesisNativeSourceProvider extends KinesisSourceProvider {
  @Override
  public String shortName() {
    return "aws-kinesis-native";
  }
}
