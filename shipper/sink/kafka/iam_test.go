package kafka_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/testkit"
)

// The login AWS_MSK_IAM has the signature that the signer of AWS's SDK makes for the same request.
func TestIAM_SignsAsTheSDK(t *testing.T) {
	for name, token := range map[string]string{"user": "", "role": "IQoJb3JpZ2luX2VjE/+token with spaces==&x=1"} {
		t.Run(name, func(t *testing.T) {
			secret := "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
			for variable, value := range map[string]string{
				"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token,
				"AWS_REGION": "eu-central-1", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
			} {
				t.Setenv(variable, value)
			}
			login := loginOf(t)
			if login["version"] != "2020_10_22" || login["host"] != "127.0.0.1" || login["action"] != "kafka-cluster:Connect" || login["user-agent"] == "" {
				t.Errorf("got %q", login)
			}
			keys := aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: secret, SessionToken: token}
			if got, want := login["x-amz-signature"], presign(t, login, keys); got != want {
				t.Errorf("got signature %s, want %s", got, want)
			}
			keys.SecretAccessKey = "another"
			if login["x-amz-signature"] == presign(t, login, keys) {
				t.Error("the signature does not depend on the key")
			}
		})
	}
}

// loginOf returns the message with which a sink logs in.
func loginOf(t *testing.T) map[string]string {
	t.Helper()
	f := startFake(t, 1)
	f.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"AWS_MSK_IAM"}
		return resp, nil, true
	})
	var message atomic.Pointer[[]byte]
	f.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		message.Store(&r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.SASLAuthBytes = []byte(`{"version":"2020_10_22","request-id":"1"}`)
		return resp, nil, true
	})
	s := f.open(func(o *kafka.Options) { o.SASL.Mechanism = "AWS_MSK_IAM" })
	mustSend(t, s, drawEvents(t, 1))
	login := make(map[string]string)
	testkit.Must(t, json.Unmarshal(*message.Load(), &login))
	return login
}

// presign returns the signature of the SDK for the login's time, place and life.
func presign(t *testing.T, login map[string]string, keys aws.Credentials) string {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", login["x-amz-date"])
	testkit.Must(t, err)
	if age := time.Since(at); age < -time.Minute || age > time.Hour {
		t.Errorf("the login is of %v", at)
	}
	query := url.Values{"Action": {"kafka-cluster:Connect"}, "X-Amz-Expires": {login["x-amz-expires"]}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+login["host"]+"/?"+query.Encode(), nil)
	testkit.Must(t, err)
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), keys, req, hex.EncodeToString(empty[:]), "kafka-cluster", "eu-central-1", at)
	testkit.Must(t, err)
	u, err := url.Parse(signed)
	testkit.Must(t, err)
	for name, lower := range map[string]string{"X-Amz-Credential": "x-amz-credential", "X-Amz-Security-Token": "x-amz-security-token", "X-Amz-SignedHeaders": "x-amz-signedheaders"} {
		if got, want := login[lower], u.Query().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", lower, got, want)
		}
	}
	return u.Query().Get("X-Amz-Signature")
}
