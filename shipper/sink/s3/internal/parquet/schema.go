package parquet

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/gzip"
	"github.com/parquet-go/parquet-go/compress/snappy"
	"github.com/parquet-go/parquet-go/compress/uncompressed"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// The leaf columns in the order of the schema.
const (
	columnStream = iota
	columnOffset
	columnKey
	columnTime
	columnName  // of the attributes
	columnValue // of the attributes
	columnData
	columns
)

// textRow is the schema of events whose payloads are UTF-8.
type textRow struct {
	Stream     string            `parquet:"stream,dict"`
	Offset     int64             `parquet:"offset,delta"`
	Key        string            `parquet:"key,dict"`
	Time       int64             `parquet:"time,timestamp(microsecond:utc),delta"`
	Attributes map[string]string `parquet:"attributes" parquet-key:",dict" parquet-value:",dict"`
	Data       string            `parquet:"data"`
}

// bytesRow is the schema of events whose payloads are bytes.
type bytesRow struct {
	Stream     string            `parquet:"stream,dict"`
	Offset     int64             `parquet:"offset,delta"`
	Key        string            `parquet:"key,dict"`
	Time       int64             `parquet:"time,timestamp(microsecond:utc),delta"`
	Attributes map[string]string `parquet:"attributes" parquet-key:",dict" parquet-value:",dict"`
	Data       []byte            `parquet:"data"`
}

var (
	textSchema  = parquet.SchemaOf(textRow{})
	bytesSchema = parquet.SchemaOf(bytesRow{})
)

const (
	// pageRows is the number of rows of a page. A reader of one key reads about two pages of each column and row group.
	pageRows = 1024
	// pageSize ends a page earlier if its rows are large.
	pageSize = 128 << 10
	// dictionarySize ends the dictionary encoding of a column chunk with many distinct values.
	dictionarySize = 1 << 20
	// bloomBits is the size of the bloom filter for each distinct key: about 1 % false positives.
	bloomBits = 10
)

func writerOptions(o Options) []parquet.WriterOption {
	schema := textSchema
	if o.Bytes {
		schema = bytesSchema
	}
	return []parquet.WriterOption{
		schema,
		parquet.Compression(codecs[o.Compression]),
		parquet.DataPageVersion(1), // every reader takes it
		parquet.DataPageStatistics(true),
		parquet.PageBufferSize(pageSize),
		parquet.WriteBufferSize(0),
		parquet.ColumnPageBuffers(pagePool{}),
		parquet.DictionaryMaxBytes(dictionarySize),
		parquet.BloomFilters(parquet.SplitBlockFilter(bloomBits, "key")),
		parquet.SkipPageBounds("data"),
		parquet.SkipPageBounds("attributes", "key_value", "value"),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("key"), parquet.Ascending("offset"))),
		parquet.CreatedBy("standpipe", "1", "0"),
	}
}

// codecs holds the compressions of pages. A Codec is safe for concurrent use and keeps its encoders.
var codecs = map[string]compress.Codec{
	"zstd":   &zstd.Codec{Level: zstd.SpeedFastest},
	"gzip":   &gzip.Codec{Level: gzip.BestSpeed},
	"snappy": &snappy.Codec{},
	"none":   &uncompressed.Codec{},
}
