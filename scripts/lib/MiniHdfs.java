import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/**
 * Runs an HDFS of one name node and one data node on loopback, with its files in a folder that is emptied first. It
 * lists folders in pages of 25 names; the default is 1,000.
 */
final class MiniHdfs {
    public static void main(String[] arguments) throws Exception {
        Configuration conf = new Configuration();
        conf.setInt("dfs.ls.limit", 25);
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(conf, new File(arguments[0])).build();
        cluster.waitActive();
        System.out.println("listening on " + cluster.getURI());
        Thread.currentThread().join();
    }
}
