package proto_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

const contract = "standpipe/v1/standpipe.proto"

// plugins are the tools of go.mod that turn a contract into Go code.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	request, err := generatorRequest(t, contract)
	if err != nil {
		t.Fatal(err)
	}
	for _, plugin := range plugins {
		files, err := runPlugin(t, plugin, request)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			checkFile(t, f.GetName(), []byte(f.GetContent()))
		}
	}
}

func checkFile(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what %s generates: run go generate ./proto/...", name, contract)
	}
}

// generatorRequest builds the request of protoc to a plugin, comments included.
func generatorRequest(t *testing.T, name string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{"."}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), name)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", name, err)
	}
	return &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{name},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
	}, nil
}

func runPlugin(t *testing.T, name string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out, faults bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "tool", name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &faults
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", name, err, faults.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("read the reply of %s: %w", name, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("run %s: %w", name, errors.New(response.GetError()))
	}
	return response.File, nil
}
