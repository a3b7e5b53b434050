package parquet

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/standpipe/standpipe/wal"
)

// Options configures a Writer.
type Options struct {
	Stream       string
	Bytes        bool   // payloads are byte arrays; false: UTF-8 strings
	Compression  string // of the pages: zstd, gzip, snappy or none
	RowGroupSize int    // bytes of the events that are sorted together, in memory
}

// Writer encodes the events of one object. It is not safe for concurrent use.
type Writer struct {
	o       Options
	out     counter
	file    *parquet.GenericWriter[any]
	rows    []row
	arena   arena
	held    int   // bytes of the events in rows
	flushed int64 // bytes of the events in complete row groups
	names   []string
	columns [columns]column
}

// row is a buffered event. Its variable parts lie in the arena.
type row struct {
	offset                uint64
	time                  int64
	key, data, attributes []byte // the attributes ascend by name; each string is after its length
}

// column has the values of one column for the next WriteRowValues.
type column struct {
	to     *parquet.ColumnWriter
	values []parquet.Value
}

const (
	// rowCost is the share of a row group that a row takes beside its key, attributes and data.
	rowCost = 96
	// chunk is the number of rows that are written to a column at once. The library compares the size of a page with
	// pageSize between two chunks.
	chunk = 64
)

// NewWriter returns a Writer for an object whose bytes go to out. Writes to out must not fail.
func NewWriter(out io.Writer, o Options) *Writer {
	w := &Writer{o: o, out: counter{to: out}}
	w.file = parquet.NewGenericWriter[any](&w.out, writerOptions(o)...)
	for i, c := range w.file.ColumnWriters() {
		w.columns[i].to = c
	}
	return w
}

// ErrNotUTF8 is returned for an event that a column of strings cannot hold.
var ErrNotUTF8 = errors.New("not UTF-8: a parquet string cannot hold it")

// Check returns ErrNotUTF8 if a column of strings cannot hold e.
func (o *Options) Check(e *wal.Event) error {
	valid := utf8.ValidString(e.Key) && (o.Bytes || utf8.Valid(e.Data))
	for name, value := range e.Attributes {
		valid = valid && utf8.ValidString(name) && utf8.ValidString(value)
	}
	if !valid {
		return ErrNotUTF8
	}
	return nil
}

// Cost returns the bytes that e takes in the sort buffer.
func Cost(e *wal.Event) int {
	n := rowCost + len(e.Key) + len(e.Data)
	for name, value := range e.Attributes {
		n += len(name) + len(value) + 2*binary.MaxVarintLen32
	}
	return n
}

// Add appends a copy of e to the row group. If e does not fit, Add writes the row group first.
func (w *Writer) Add(e *wal.Event) {
	cost := Cost(e)
	if len(w.rows) > 0 && w.held+cost > w.o.RowGroupSize {
		w.flush()
	}
	buf := w.arena.grow(cost)
	buf = append(append(buf, e.Key...), e.Data...)
	tags := len(buf)
	buf = w.appendAttributes(buf, e.Attributes)
	w.arena.commit(buf)
	w.rows = append(w.rows, row{e.Offset, e.Time, buf[:len(e.Key)], buf[len(e.Key):tags], buf[tags:]})
	w.held += cost
}

// appendAttributes appends names and values, ascending by name, each after its length.
func (w *Writer) appendAttributes(dst []byte, attributes map[string]string) []byte {
	if len(attributes) == 0 {
		return dst
	}
	w.names = slices.AppendSeq(w.names[:0], maps.Keys(attributes))
	slices.Sort(w.names)
	for _, name := range w.names {
		for _, s := range [...]string{name, attributes[name]} {
			dst = binary.AppendUvarint(dst, uint64(len(s)))
			dst = append(dst, s...)
		}
	}
	return dst
}

// Size returns an estimate of the object's size if it ended now: the bytes of complete row groups, and the buffered
// events at the ratio of those, or at their own size before the first.
func (w *Writer) Size() int64 { return w.out.n + w.estimate(w.held) }

// SizeWith returns the estimate with e.
func (w *Writer) SizeWith(e *wal.Event) int64 { return w.out.n + w.estimate(w.held+Cost(e)) }

func (w *Writer) estimate(held int) int64 {
	if w.flushed == 0 {
		return int64(held)
	}
	return int64(float64(held) * float64(w.out.n) / float64(w.flushed))
}

// Finish writes the last row group and the footer.
func (w *Writer) Finish() {
	w.flush()
	must(w.file.Close())
}

// flush sorts the buffered rows and writes them as a row group.
func (w *Writer) flush() {
	if len(w.rows) == 0 {
		return
	}
	slices.SortFunc(w.rows, func(a, b row) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Compare(a.offset, b.offset)
	})
	for page := range slices.Chunk(w.rows, pageRows) {
		for rows := range slices.Chunk(page, chunk) {
			w.write(rows)
		}
		for i := range w.columns {
			must(w.columns[i].to.Flush())
		}
	}
	// The pages have all bytes of the rows: the memory of these is free before the pages are written.
	w.flushed += int64(w.held)
	clear(w.rows)
	w.rows, w.held = w.rows[:0], 0
	w.arena.reset()
	must(w.file.Flush())
}

// write appends rows to the columns.
func (w *Writer) write(rows []row) {
	stream := parquet.ByteArrayValue([]byte(w.o.Stream))
	for _, r := range rows {
		w.add(columnStream, stream)
		w.add(columnOffset, parquet.Int64Value(int64(r.offset)))
		w.add(columnKey, parquet.ByteArrayValue(r.key))
		w.add(columnTime, parquet.Int64Value(time.Unix(0, r.time).UnixMicro()))
		w.addAttributes(r.attributes)
		w.add(columnData, parquet.ByteArrayValue(r.data))
	}
	for i := range w.columns {
		c := &w.columns[i]
		_, err := c.to.WriteRowValues(c.values)
		must(err)
		c.values = c.values[:0]
	}
}

func (w *Writer) add(column int, v parquet.Value) {
	w.columns[column].values = append(w.columns[column].values, v.Level(0, 0, column))
}

// addAttributes adds the pairs of one row, or a map without any.
func (w *Writer) addAttributes(pairs []byte) {
	names, values := &w.columns[columnName].values, &w.columns[columnValue].values
	if len(pairs) == 0 {
		*names = append(*names, parquet.NullValue().Level(0, 0, columnName))
		*values = append(*values, parquet.NullValue().Level(0, 0, columnValue))
	}
	for repeated := 0; len(pairs) > 0; repeated = 1 {
		var name, value []byte
		name, pairs = cutString(pairs)
		value, pairs = cutString(pairs)
		*names = append(*names, parquet.ByteArrayValue(name).Level(repeated, 1, columnName))
		*values = append(*values, parquet.ByteArrayValue(value).Level(repeated, 1, columnValue))
	}
}

// cutString returns the string at the beginning of b, and the rest.
func cutString(b []byte) (s, rest []byte) {
	n, width := binary.Uvarint(b)
	return b[width : width+int(n)], b[width+int(n):]
}

// counter counts the bytes that go to an io.Writer.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// must panics on an error of the library, which has none for valid rows and an output that does not fail.
func must(err error) {
	if err != nil {
		panic("parquet: " + err.Error())
	}
}
