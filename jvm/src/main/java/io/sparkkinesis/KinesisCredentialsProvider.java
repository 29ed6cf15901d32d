package io.sparkkinesis;

/**
 * Gives credentials: a class named by {@code kinesis.credentialProviderClass} that needs nothing of AWS's SDK.
 *
 * <p>It has a public constructor without parameters, or one that takes {@code kinesis.credentialProviderParam} as a
 * String. The driver and each executor make one object of it, in the class loader of the job, and ask it from threads
 * of the connector, one at a time for each client: at first, ahead of the end of what it gave, every 15 minutes where
 * that has no end, and when the service refused it.
 */
public interface KinesisCredentialsProvider {

  /**
   * The credentials of now. What it throws is shown to the user, class and message, and it is asked again as often as
   * {@code kinesis.clientNumRetries} says.
   */
  KinesisCredentials resolveCredentials() throws Exception;
}
