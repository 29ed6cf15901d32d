package io.sparkkinesis;

/**
 * Source of credentials for {@code kinesis.credentialProviderClass}, without a dependency on AWS's SDK.
 *
 * <p>An implementation has a public constructor without parameters, or one that takes {@code
 * kinesis.credentialProviderParam} as a String. The driver and each executor create one instance, in the job's class
 * loader. Threads of the connector call it, one at a time for each client: at first use, before the credentials
 * expire, every 15 minutes if they have no expiration time, and after the service refused them.
 */
public interface KinesisCredentialsProvider {

  /**
   * Returns the current credentials. If it throws, the user sees the exception's class and message, and the call is
   * repeated up to {@code kinesis.clientNumRetries} times.
   */
  KinesisCredentials resolveCredentials() throws Exception;
}
