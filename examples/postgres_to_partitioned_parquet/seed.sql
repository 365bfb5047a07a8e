CREATE TABLE orders (
    id bigint PRIMARY KEY,
    country text,
    day date NOT NULL,
    total numeric(12, 2) NOT NULL,
    ordered_at timestamptz NOT NULL
);

INSERT INTO orders
SELECT n,
       CASE n % 4 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' WHEN 2 THEN 'PT' END,
       DATE '2026-10-01' + n % 3,
       n * 1.25,
       TIMESTAMPTZ '2026-10-01 00:00:00+00' + n * INTERVAL '10 minutes'
FROM generate_series(1, 1200) AS n;
