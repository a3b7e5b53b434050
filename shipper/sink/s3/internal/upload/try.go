package upload

import "context"

// Try begins an upload and aborts it.
func (b *Bucket) Try(ctx context.Context, key string) error {
	id, err := b.create(ctx, Object{Key: key, ContentType: "text/plain"})
	if err != nil {
		return err
	}
	return b.Abort(ctx, key, id)
}
