module dedicated.dev/hack/stub-engine

go 1.24.0
