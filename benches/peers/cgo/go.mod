module peer-cgo

go 1.27
