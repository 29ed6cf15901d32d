package software.amazon.awssdk.auth.credentials;

/** Stand-in for the interface of AWS's SDK for Java 2, with the methods that the connector calls. */
public interface AwsCredentials {
  String accessKeyId();

  String secretAccessKey();
}
