import org.elasticmq.rest.sqs.SQSRestServerBuilder;

/** Serves SQS on a port of 127.0.0.1, in memory: Queues PORT. */
class Queues {
  public static void main(String[] arguments) {
    SQSRestServerBuilder.withInterface("127.0.0.1").withPort(Integer.parseInt(arguments[0])).start().waitUntilStarted();
    System.out.println("started");
  }
}
