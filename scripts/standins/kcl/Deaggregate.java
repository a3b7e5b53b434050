import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.List;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * Takes Kinesis records apart as Amazon's Kinesis Client Library does it for a consumer that reads a shard.
 *
 * <p>Standard input has one record a line, its fields separated by tabs: the shard's lowest and highest hash key,
 * the record's partition key and its data, the last two in base64. Standard output has one user record a
 * line: the index of its record, its partition key and its data. What the library discards is not there.
 */
public final class Deaggregate {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "US-ASCII"));
        PrintStream out = new PrintStream(System.out, false, "US-ASCII");
        AggregatorUtil library = new AggregatorUtil();
        Base64.Decoder decode = Base64.getDecoder();
        Base64.Encoder encode = Base64.getEncoder();
        int index = 0;
        for (String line; (line = in.readLine()) != null; index++) {
            String[] field = line.split("\t", -1);
            KinesisClientRecord record = KinesisClientRecord.builder()
                    .sequenceNumber(Integer.toString(index))
                    .partitionKey(new String(decode.decode(field[2]), "UTF-8"))
                    .data(ByteBuffer.wrap(decode.decode(field[3])))
                    .build();
            List<KinesisClientRecord> parts =
                    library.deaggregate(List.of(record), new BigInteger(field[0]), new BigInteger(field[1]));
            for (KinesisClientRecord part : parts) {
                byte[] data = new byte[part.data().remaining()];
                part.data().get(data);
                out.print(index + "\t" + encode.encodeToString(part.partitionKey().getBytes("UTF-8")) + "\t"
                        + encode.encodeToString(data) + "\n");
            }
        }
        out.flush();
    }
}
