package schema

import (
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const allowedEnvironment = `${env.NAME} or ${env("NAME", "default")}`

// environment reads ${env.NAME}.
func (v Value) environment(e *hclsyntax.ScopeTraversalExpr) (string, bool) {
	if len(e.Traversal) == 2 {
		if name, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
			return v.variableOf(e, name.Name)
		}
	}
	v.Block.Fault(posOf(e.Range()), "%s: env has no name of a variable behind a dot; allowed is %s", v.name, allowedEnvironment)
	return "", false
}

// environmentOr reads ${env("NAME", "default")}.
func (v Value) environmentOr(e *hclsyntax.FunctionCallExpr) (string, bool) {
	var texts []string
	for _, arg := range e.Args {
		text, ok := plainText(arg)
		if !ok {
			break
		}
		texts = append(texts, text)
	}
	if len(texts) != len(e.Args) || e.ExpandFinal || len(texts) < 1 || len(texts) > 2 || texts[0] == "" {
		v.Block.Fault(posOf(e.Range()), "%s: env needs one or two strings in quotes; allowed is %s", v.name, allowedEnvironment)
		return "", false
	}
	if len(texts) == 1 {
		return v.variableOf(e, texts[0])
	}
	if text, set := os.LookupEnv(texts[0]); set {
		return text, true
	}
	return texts[1], true
}

// variableOf returns the value of an environment variable. An unset one is a fault.
func (v Value) variableOf(e hclsyntax.Expression, name string) (string, bool) {
	text, set := os.LookupEnv(name)
	if !set {
		v.Block.Fault(posOf(e.Range()), "%s: the environment variable %s is not set; allowed is a variable that is set, or ${env(%s, \"default\")}",
			v.name, Quote(name), Quote(name))
	}
	return text, set
}

// plainText returns the text of a string in quotes without interpolations.
func plainText(e hclsyntax.Expression) (string, bool) {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || len(t.Parts) > 1 {
		return "", false
	}
	if len(t.Parts) == 0 {
		return "", true
	}
	literal, ok := t.Parts[0].(*hclsyntax.LiteralValueExpr)
	if !ok || literal.Val.Type() != cty.String || literal.Val.IsNull() {
		return "", false
	}
	return literal.Val.AsString(), true
}
