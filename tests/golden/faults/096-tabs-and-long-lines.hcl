entrypoints "web" {
  address = "0.0.0.0:8080"
}

routers "api" {
	rule	= "Host(`a.example.com`) && Foo(`b`)"
	service	= "whoami@internal"
}

routers "long" {
  rule    = "Host(`h0.example.com`) || Host(`h1.example.com`) || Host(`h2.example.com`) || Host(`h3.example.com`) || Host(`h4.example.com`) || Host(`h5.example.com`) || Host(`h6.example.com`) || Host(`h7.example.com`) || Host(`h8.example.com`) || Host(`h9.example.com`) || Host(`h10.example.com`) || Host(`h11.example.com`) || Host(`h12.example.com`) || Host(`h13.example.com`) || Hots(`x.example.com`) || Host(`i0.example.com`) || Host(`i1.example.com`) || Host(`i2.example.com`) || Host(`i3.example.com`) || Host(`i4.example.com`) || Host(`i5.example.com`)"
  service = "whoami@internal"
}
