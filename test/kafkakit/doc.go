// Package kafkakit runs a broker of Apache Kafka for tests, and reads topics with kcat, whose client library is not the
// one under test. `make standins` installs both. Only tests import the package.
package kafkakit
