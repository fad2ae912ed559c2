-- What follows from violations, where the platform's text gives a number. `platforms` is made of the profiles: one row each, and
-- `profile` of an order's platform is that platform, or 'default'.

-- Only open flags are owed for: what was cleared or exempted is not.
CREATE OR REPLACE VIEW compensations AS
WITH owed AS (
    SELECT order_id, max(platform) AS platform, max(merchant_id) AS merchant_id, list(DISTINCT rule ORDER BY rule) AS rules,
           max(compensation_percent) AS percent, sum(compensation_yuan) AS fixed
    FROM flags
    WHERE status = 'open' AND (compensation_percent IS NOT NULL OR compensation_yuan IS NOT NULL)
    GROUP BY order_id
),
counted AS (
    -- A percentage is owed once per order, whatever broke it. Decimals round half up; `/` would make a double of them.
    SELECT owed.*, amount, round(amount::DECIMAL(24, 2) * percent * 0.01::DECIMAL(3, 2), 0)::DECIMAL(18, 0) AS by_amount
    FROM owed LEFT JOIN orders USING (order_id)
)
SELECT order_id, platform, merchant_id, amount, rules, percent, by_amount, fixed::DECIMAL(18, 2) AS fixed,
       CASE WHEN percent IS NULL OR by_amount IS NOT NULL
            THEN coalesce(by_amount, 0)::DECIMAL(18, 2) + coalesce(fixed, 0)::DECIMAL(18, 2) END AS compensation
FROM counted;

-- Parcels not picked up so long after their upload that the buyer's request for a refund is granted without asking.
CREATE OR REPLACE VIEW refund_exposure AS
SELECT shipments.order_id, shipments.carrier, shipments.waybill_no, shipments.platform, shipments.merchant_id, uploaded_at,
       uploaded_at + to_hours(refund_hours_without_pickup) AS exposed_since, amount
FROM shipments
JOIN orders ON orders.order_id = shipments.order_id
JOIN platforms ON profile = profile_of(shipments.platform)
CROSS JOIN parcelwatch
WHERE picked_up_at IS NULL AND shipments.cancelled_at IS NULL AND exposed_since < clock
  AND NOT coalesce(list_contains(excluded_categories, shipments.category), false)
  AND shipments.order_id NOT IN (SELECT order_id FROM aftersales WHERE refunded_at IS NOT NULL);

-- Days on which an order was found late: the midnights of the platform's time zone after its deadline and until its upload.
CREATE OR REPLACE VIEW late_inspections AS
WITH late AS (
    SELECT flags.order_id, flags.platform, flags.merchant_id, products, violated_at AS late_since,
           least(first_uploaded_at, cancelled_at, clock) AS late_until, late_inspections_max, platforms.timezone AS zone,
           CASE WHEN first_uploaded_at IS NULL AND cancelled_at IS NULL THEN paid_at + to_days(unshipped_days_max) END
               AS closes_at
    FROM flags
    JOIN orders ON orders.order_id = flags.order_id
    JOIN platforms ON profile = profile_of(flags.platform)
    CROSS JOIN parcelwatch
    WHERE rule = 'late_shipment' AND status = 'open'
)
SELECT order_id, platform, merchant_id, products, late_since, late_until,
       date_diff('day', (late_since AT TIME ZONE zone)::DATE, (late_until AT TIME ZONE zone)::DATE) AS inspections,
       inspections >= late_inspections_max AS banned, closes_at
FROM late;

CREATE OR REPLACE VIEW out_of_stock_products AS
WITH short AS (
    SELECT DISTINCT flags.platform, flags.merchant_id, flags.order_id, unnest(products) AS product_id
    FROM flags JOIN orders ON orders.order_id = flags.order_id
    WHERE rule = 'unable_to_ship' AND status = 'open'
)
SELECT platform, merchant_id, product_id, count(*) AS orders, any_value(out_of_stock_orders_max) AS orders_max,
       orders > orders_max AS banned
FROM short JOIN platforms ON profile = profile_of(platform)
GROUP BY platform, merchant_id, product_id;
