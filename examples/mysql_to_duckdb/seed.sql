CREATE TABLE invoices (
    id int unsigned NOT NULL PRIMARY KEY,
    customer varchar(100) CHARACTER SET utf8mb4 NOT NULL,
    amount decimal(20, 4) NOT NULL,
    issued_at datetime(6) NOT NULL,
    paid tinyint(1) NULL
);

INSERT INTO invoices VALUES
    (1, 'Zoë Müller', 0.1000, '2026-10-01 09:30:00.000001', 1),
    (2, 'Łukasz Żak', 9999999999999999.9999, '2026-10-02 00:00:00', 0),
    (3, '黒沢 明', 12.5000, '2026-10-31 23:59:59.999999', NULL);
