package software.amazon.awssdk.auth.credentials;

/** Stand-in for the interface of AWS's SDK for Java 2, with the method that the connector calls. */
public interface AwsCredentialsProvider {
  AwsCredentials resolveCredentials();
}
