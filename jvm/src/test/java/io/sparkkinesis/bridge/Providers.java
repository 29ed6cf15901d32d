package io.sparkkinesis.bridge;

import io.sparkkinesis.KinesisCredentials;
import io.sparkkinesis.KinesisCredentialsProvider;
import java.time.Instant;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;

/** Credentials providers, each created in a different way, which its key names. */
public final class Providers {
  private Providers() {}

  /** Expiration of the sessions. */
  public static final Instant END = Instant.ofEpochMilli(1_800_000_000_123L);

  private static AwsCredentials keys(String key) {
    return new AwsCredentials() {
      @Override
      public String accessKeyId() {
        return key;
      }

      @Override
      public String secretAccessKey() {
        return "secret";
      }
    };
  }

  public static final class Created implements AwsCredentialsProvider {
    private Created() {}

    public static AwsCredentialsProvider create() {
      return new Created();
    }

    public static AwsCredentialsProvider create(String param) {
      return () -> keys("created with " + param);
    }

    @Override
    public AwsCredentials resolveCredentials() {
      return new AwsSessionCredentials("created", "secret", "token", END);
    }
  }

  public static final class Built implements AwsCredentialsProvider {
    private final String key;

    private Built(String key) {
      this.key = key;
    }

    public static Builder builder() {
      return new Builder();
    }

    public static final class Builder {
      public Built build() {
        return new Built("built");
      }
    }

    @Override
    public AwsCredentials resolveCredentials() {
      return new AwsSessionCredentials(key, "secret", "token", null);
    }
  }

  /** Implements the connector's own interface; returns a session if it has a parameter. */
  public static final class Own implements KinesisCredentialsProvider {
    private final String param;

    public Own() {
      this(null);
    }

    public Own(String param) {
      this.param = param;
    }

    @Override
    public KinesisCredentials resolveCredentials() {
      return param == null
          ? KinesisCredentials.of("own", "secret")
          : KinesisCredentials.ofSession("own with " + param, "secret", "token", END);
    }
  }

  /** Fails in the way that its parameter names. The messages contain the parameter. */
  public static final class Failing implements AwsCredentialsProvider {
    private final String how;

    public Failing(String how) {
      if (how.startsWith("constructor")) {
        throw new IllegalStateException("not made with " + how);
      }
      this.how = how;
    }

    @Override
    public AwsCredentials resolveCredentials() {
      switch (how) {
        case "null":
          return null;
        case "empty":
          return keys("");
        case "error":
          throw new NoClassDefFoundError("com/example/Missing");
        default:
          throw new IllegalStateException("the vault is sealed to " + how, new RuntimeException("503"));
      }
    }
  }

  /** Returns the thread's context class loader, as seen by this class. */
  public static final class LoaderOfThread implements AwsCredentialsProvider {
    private final String atFirst = loader();

    private static String loader() {
      return String.valueOf(Thread.currentThread().getContextClassLoader());
    }

    @Override
    public AwsCredentials resolveCredentials() {
      return new AwsSessionCredentials(atFirst, loader(), "token", null);
    }
  }

  public static final class NoProvider {}

  public abstract static class OnlyWithTwo implements AwsCredentialsProvider {
    public OnlyWithTwo(String one, String two) {}
  }
}
