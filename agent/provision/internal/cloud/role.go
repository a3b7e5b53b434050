package cloud

import (
	"context"
	"encoding/json"
	"net/url"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	document "github.com/standpipe/standpipe/agent/iam"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// policyName is that of the role's inline policy.
const policyName = "delivery"

// role is that of a Firehose stream, with its policy.
type role struct {
	at     *clients
	wanted wanted.Delivery
}

// KindRole is the kind of a role.
const KindRole = "IAM role"

func (r *role) Kind() string        { return KindRole }
func (r *role) Name() string        { return r.wanted.Role() }
func (r *role) Place() wanted.Place { return r.wanted.Place }
func (r *role) Settings() string    { return "for Firehose stream " + r.wanted.Name }

func (r *role) Read(ctx context.Context) (State, error) {
	name := aws.String(r.wanted.Role())
	out, err := r.at.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	if is(err, "NoSuchEntity") {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	state := State{Found: true}
	if !same(aws.ToString(out.Role.AssumeRolePolicyDocument), r.wanted.Trust()) {
		state.differs("trust policy", "another", "Firehose streams of the account")
	}
	policy, err := r.at.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName)})
	switch {
	case is(err, "NoSuchEntity"):
		for _, t := range out.Role.Tags {
			state.Unfinished = state.Unfinished || aws.ToString(t.Key) == tag && aws.ToString(t.Value) == unfinished
		}
		if !state.Unfinished {
			state.differs("policy "+policyName, "none", text(r.wanted.Policy()))
		}
	case err != nil:
		return state, err
	case !same(aws.ToString(policy.PolicyDocument), r.wanted.Policy()):
		state.differs("policy "+policyName, "another", text(r.wanted.Policy()))
	}
	return state, nil
}

func (r *role) Create(ctx context.Context, have State) error {
	name := aws.String(r.wanted.Role())
	if !have.Found {
		_, err := r.at.iam.CreateRole(ctx, &iam.CreateRoleInput{
			RoleName: name, AssumeRolePolicyDocument: aws.String(text(r.wanted.Trust())),
			Description: aws.String("For the Firehose stream " + r.wanted.Name),
			Tags:        []types.Tag{{Key: aws.String(tag), Value: aws.String(unfinished)}},
		})
		if err != nil {
			return err
		}
	}
	_, err := r.at.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName), PolicyDocument: aws.String(text(r.wanted.Policy()))})
	if err != nil {
		return err
	}
	_, err = r.at.iam.TagRole(ctx, &iam.TagRoleInput{RoleName: name, Tags: []types.Tag{{Key: aws.String(tag), Value: aws.String(finished)}}})
	return err
}

// text returns a policy as AWS takes it.
func text(d document.Document) string {
	b, _ := json.Marshal(d) // strings have no errors
	return string(b)
}

// same reports whether a policy of AWS, which is escaped as in a URL, is the wanted one. The order of its fields does not matter.
func same(have string, want document.Document) bool {
	if plain, err := url.QueryUnescape(have); err == nil {
		have = plain
	}
	var a, b any
	return json.Unmarshal([]byte(have), &a) == nil && json.Unmarshal([]byte(text(want)), &b) == nil && reflect.DeepEqual(a, b)
}
