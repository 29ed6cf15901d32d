package example;

import java.io.File;
import java.lang.management.ManagementFactory;
import java.net.URI;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/**
 * The scheme {@code own}: a separate disk for each process, as on machines without a shared disk. It is the process's
 * folder within {@code own.disks}.
 */
public final class OwnDisk extends RawLocalFileSystem {
  private static final URI NAME = URI.create("own:///");

  @Override
  public URI getUri() {
    return NAME;
  }

  @Override
  public File pathToFile(Path path) {
    // The JVM's own name: process@host.
    String process = ManagementFactory.getRuntimeMXBean().getName();
    File disk = new File(getConf().get("own.disks"), process);
    disk.mkdirs();
    return new File(disk, path.toUri().getPath());
  }
}
