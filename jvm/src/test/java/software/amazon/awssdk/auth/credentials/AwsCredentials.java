package software.amazon.awssdk.auth.credentials;

/** As in AWS's SDK for Java 2, as far as the connector calls it. */
public interface AwsCredentials {
  String accessKeyId();

  String secretAccessKey();
}
