-- What analysts query, over the append-only tables of `pipeline/store.py`. `detectors/_facts.py` says what the times mean.
-- Every view is a function of content: the order of arrival never decides.

-- Whether a division (six digits) is the region or a part of it.
CREATE OR REPLACE MACRO lies_in(division, region) AS
    CASE WHEN region % 10000 = 0 THEN division // 10000 = region // 10000
         WHEN region % 100 = 0 THEN division // 100 = region // 100
         ELSE division = region END;

-- Where a platform lets a parcel change its number. The profiles say it, in a macro that takes the place of this one.
CREATE OR REPLACE MACRO transfers_of(platform) AS 'anywhere';

-- Flags ---------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW flags AS
SELECT flag_id, rule, clause, platform, merchant_id, order_id, carrier, waybill_no, violated_at, detected_at, status,
       cleared_at, evidence, aftersale_id, severity, change, reason, changed_at, compensation_percent, compensation_yuan, seq
FROM flag_log
WHERE seq IN (SELECT max(seq) FROM flag_log GROUP BY flag_id) AND status <> 'averted';

CREATE OR REPLACE VIEW flag_history AS
SELECT flag_id, changed_at AS "at", change, status, rule, order_id, carrier, waybill_no, aftersale_id, violated_at, reason,
       evidence, seq
FROM flag_log
WHERE change <> 'amended';

CREATE OR REPLACE VIEW dead_letters AS
SELECT id, source, position, error, raw, recorded_at, first_seen_at
FROM letters
WHERE redriven_at IS NULL;

-- Facts, condensed ----------------------------------------------------------------------------------------------------

-- Of several payments the earliest counts; of several addresses (and recipients) the latest. Ties: by content.
CREATE OR REPLACE VIEW orders AS
WITH condensed AS (
    SELECT order_id,
           min(paid) FILTER (type = 'order_paid') AS paid,
           max(address) FILTER (type = 'address_changed') AS changed,
           max(recipient)
               FILTER (type = 'address_changed' AND (name_hash IS NOT NULL OR phone_hash IS NOT NULL)) AS recipient,
           min(occurred_at) FILTER (type = 'order_cancelled') AS cancelled_at
    FROM (
        SELECT *,
               {'at': occurred_at, 'platform': platform, 'merchant_id': merchant_id, 'amount': amount,
                'ship_within_hours': ship_within_hours, 'category': category, 'products': products, 'province': province,
                'city': city, 'district': district, 'detail': detail, 'place_text': place_text, 'name_hash': name_hash,
                'phone_hash': phone_hash, 'division': division} AS paid,
               {'at': occurred_at, 'province': province, 'city': city, 'district': district, 'detail': detail,
                'place_text': place_text, 'division': division} AS address,
               {'at': occurred_at, 'name_hash': name_hash, 'phone_hash': phone_hash} AS recipient
        FROM order_facts
    )
    GROUP BY order_id
),
uploaded AS (
    SELECT order_id, min(occurred_at) AS first_uploaded_at FROM uploads WHERE aftersale_id IS NULL GROUP BY order_id
)
SELECT order_id,
       paid.platform AS platform,
       paid.merchant_id AS merchant_id,
       TRY_CAST(paid.amount AS DECIMAL(18, 2)) AS amount,
       paid.at AS paid_at,
       paid.ship_within_hours AS ship_within_hours,
       paid.category AS category,
       paid.products AS products,
       CASE WHEN changed IS NULL THEN paid.province ELSE changed.province END AS province,
       CASE WHEN changed IS NULL THEN paid.city ELSE changed.city END AS city,
       CASE WHEN changed IS NULL THEN paid.district ELSE changed.district END AS district,
       CASE WHEN changed IS NULL THEN paid.detail ELSE changed.detail END AS detail,
       CASE WHEN changed IS NULL THEN paid.place_text ELSE changed.place_text END AS place_text,
       CASE WHEN changed IS NULL THEN paid.division ELSE changed.division END AS division,
       CASE WHEN recipient IS NULL THEN paid.name_hash ELSE recipient.name_hash END AS name_hash,
       CASE WHEN recipient IS NULL THEN paid.phone_hash ELSE recipient.phone_hash END AS phone_hash,
       cancelled_at,
       first_uploaded_at
FROM condensed FULL JOIN uploaded USING (order_id);

-- After-sales cases that were opened: of each event the earliest, at one moment by what it says.
CREATE OR REPLACE VIEW aftersales AS
WITH sent_again AS (
    SELECT order_id, aftersale_id, min(occurred_at) AS resent_at
    FROM uploads
    WHERE aftersale_id IS NOT NULL
    GROUP BY order_id, aftersale_id
),
cases AS (
    SELECT order_id, aftersale_id,
           min({'at': occurred_at, 'kind': kind}) FILTER (type = 'aftersale_opened') AS opened,
           min({'at': occurred_at, 'answer': answer}) FILTER (type = 'aftersale_answered') AS answered,
           min({'at': occurred_at, 'carrier': carrier, 'waybill_no': waybill_no})
               FILTER (type = 'return_waybill_uploaded') AS returned,
           min(occurred_at) FILTER (type = 'return_received') AS received_at,
           min({'at': occurred_at, 'amount': amount}) FILTER (type = 'refunded') AS refunded,
           min(occurred_at) FILTER (type = 'aftersale_closed') AS closed_at
    FROM aftersale_facts
    GROUP BY order_id, aftersale_id
)
SELECT order_id, aftersale_id, platform, merchant_id, opened.kind AS kind, opened.at AS opened_at, answered.at AS answered_at,
       answered.answer AS answer, returned.carrier AS return_carrier, returned.waybill_no AS return_waybill_no,
       returned.at AS return_uploaded_at, received_at, refunded.at AS refunded_at,
       TRY_CAST(refunded.amount AS DECIMAL(18, 2)) AS refunded_amount, resent_at, closed_at,
       least(refunded.at, resent_at, closed_at) AS settled_at
FROM cases LEFT JOIN sent_again USING (order_id, aftersale_id) LEFT JOIN orders USING (order_id)
WHERE opened IS NOT NULL;

-- Where a chain of replacements ends: (carrier, waybill_no) as uploaded -> the waybill whose scans count, for both ways in which
-- platforms may see it (`transfers`). Only waybills that were replaced are here. Each step takes the latest replacement that
-- counts; a waybill visited before ends the chain.
CREATE OR REPLACE VIEW replaced_waybills AS
WITH RECURSIVE placed AS (
    SELECT carrier, waybill_no, occurred_at, status, division
    FROM scans SEMI JOIN replacements USING (carrier, waybill_no)
    WHERE division IS NOT NULL
),
started AS (
    SELECT carrier, waybill_no,
           min({'later': status <> 'picked_up', 'at': occurred_at, 'division': division}).division // 10000 AS province
    FROM placed
    GROUP BY carrier, waybill_no
),
handed AS (
    SELECT r.carrier, r.waybill_no, r.occurred_at AS handed_at, new_carrier, new_waybill_no, kind, r.division, started.province,
           max({'at': placed.occurred_at, 'division': placed.division}) AS last_seen
    FROM replacements AS r
    LEFT JOIN started ON started.carrier = r.carrier AND started.waybill_no = r.waybill_no
    LEFT JOIN placed ON placed.carrier = r.carrier AND placed.waybill_no = r.waybill_no
                    AND placed.occurred_at <= r.occurred_at
    GROUP BY ALL
),
step AS (
    SELECT transfers, carrier, waybill_no,
           max({'at': handed_at, 'carrier': new_carrier, 'waybill_no': new_waybill_no}) AS next
    FROM handed, (VALUES ('anywhere'), ('origin_province')) AS ways(transfers)
    WHERE transfers = 'anywhere' OR kind IS NOT DISTINCT FROM 'correction'
       OR coalesce(province = coalesce(division, last_seen.division) // 10000, true)
    GROUP BY transfers, carrier, waybill_no
),
chain AS (
    SELECT transfers, carrier, waybill_no, carrier AS here_carrier, waybill_no AS here_waybill_no,
           [{'carrier': carrier, 'waybill_no': waybill_no}] AS visited
    FROM step
    UNION ALL
    SELECT transfers, chain.carrier, chain.waybill_no, step.next.carrier, step.next.waybill_no,
           list_append(visited, {'carrier': step.next.carrier, 'waybill_no': step.next.waybill_no})
    FROM chain JOIN step USING (transfers)
    WHERE step.carrier = here_carrier AND step.waybill_no = here_waybill_no
      AND NOT list_contains(visited, {'carrier': step.next.carrier, 'waybill_no': step.next.waybill_no})
)
SELECT transfers, carrier, waybill_no, arg_max(here_carrier, len(visited)) AS scanned_carrier,
       arg_max(here_waybill_no, len(visited)) AS scanned_waybill_no
FROM chain
GROUP BY transfers, carrier, waybill_no;

CREATE OR REPLACE VIEW shipments AS
WITH uploaded AS (
    SELECT order_id, carrier, waybill_no, min(occurred_at) AS uploaded_at, bool_or(aftersale_id IS NULL) AS uploaded_for_order
    FROM uploads
    GROUP BY order_id, carrier, waybill_no
),
scanned AS (
    SELECT carrier, waybill_no,
           min(occurred_at) FILTER (status = 'picked_up') AS picked_up_at,
           max(occurred_at) FILTER (status IN ('out_for_delivery', 'available_for_pickup', 'delivered')) AS last_drop_at,
           -- At the same microsecond delivered is last, then available_for_pickup.
           arg_max(status, 4 * epoch_us(occurred_at) + CASE status WHEN 'delivered' THEN 2 WHEN 'available_for_pickup' THEN 1 ELSE 0 END)
               FILTER (status IN ('out_for_delivery', 'available_for_pickup', 'delivered')) AS last_drop_status,
           min(occurred_at) FILTER (status = 'delivered') AS delivered_at,
           max(occurred_at) AS last_scanned_at,
           bool_or(status IN ('returning', 'returned', 'forwarded')) AS turned_back
    FROM scans
    GROUP BY carrier, waybill_no
),
moved AS (
    SELECT carrier, waybill_no,
           min(occurred_at) FILTER (status NOT IN ('picked_up', 'info_received', 'cancelled')) AS moved_at,
           min(occurred_at) FILTER (status IN ('arrived_at_facility', 'departed_facility', 'out_for_delivery',
                                               'available_for_pickup', 'delivered')) AS first_hub_at
    FROM scans JOIN scanned USING (carrier, waybill_no)
    WHERE occurred_at > picked_up_at
    GROUP BY carrier, waybill_no
)
SELECT order_id, uploaded.carrier, uploaded.waybill_no, platform, merchant_id, paid_at, uploaded_at,
       coalesce(replaced.scanned_carrier, uploaded.carrier) AS scanned_carrier,
       coalesce(replaced.scanned_waybill_no, uploaded.waybill_no) AS scanned_waybill_no,
       picked_up_at, moved_at, first_hub_at, last_drop_at, last_drop_status, delivered_at, last_scanned_at,
       coalesce(turned_back, false) AS turned_back, cancelled_at, uploaded_for_order, category
FROM uploaded
LEFT JOIN orders USING (order_id)
LEFT JOIN replaced_waybills AS replaced
       ON replaced.carrier = uploaded.carrier AND replaced.waybill_no = uploaded.waybill_no
      AND replaced.transfers = transfers_of(platform)
LEFT JOIN scanned ON scanned.carrier = coalesce(replaced.scanned_carrier, uploaded.carrier)
                 AND scanned.waybill_no = coalesce(replaced.scanned_waybill_no, uploaded.waybill_no)
LEFT JOIN moved ON moved.carrier = scanned.carrier AND moved.waybill_no = scanned.waybill_no;

-- Summaries -----------------------------------------------------------------------------------------------------------

-- One row per shipment with an open flag; flags about the order itself, and about its after-sales cases, have a row with carrier
-- and waybill_no NULL.
CREATE OR REPLACE VIEW flagged_shipments AS
WITH flagged AS (
    SELECT order_id, carrier, waybill_no, max(platform) AS platform, max(merchant_id) AS merchant_id,
           list(rule ORDER BY rule) AS rules, min(violated_at) AS first_violated_at,
           max(violated_at) AS last_violated_at, min(detected_at) AS first_detected_at, count(*) AS flags
    FROM flags
    WHERE status = 'open'
    GROUP BY order_id, carrier, waybill_no
)
SELECT flagged.order_id, flagged.carrier, flagged.waybill_no, flagged.platform, flagged.merchant_id, rules,
       first_violated_at, last_violated_at, first_detected_at, flags, orders.paid_at, uploaded_at, picked_up_at,
       last_scanned_at, delivered_at
FROM flagged
LEFT JOIN orders ON orders.order_id = flagged.order_id
LEFT JOIN shipments ON shipments.order_id = flagged.order_id AND shipments.carrier = flagged.carrier
                   AND shipments.waybill_no = flagged.waybill_no;

-- Per merchant, day and rule that has flagged anything on the platform. Days are Shanghai's: of upload for rules about
-- shipments, of payment for rules about orders, of the request for rules about cases; `shipments` counts what the rule is about.
-- As known now: `violations`, net of what was exempted and cleared. As judged: `flagged`, open at any time, whatever came of it.
CREATE OR REPLACE VIEW merchant_daily AS
WITH subjects AS (
    SELECT 'shipment' AS about, platform, merchant_id, (uploaded_at AT TIME ZONE 'Asia/Shanghai')::DATE AS day,
           order_id, carrier, waybill_no, NULL AS aftersale_id
    FROM shipments
    UNION ALL
    SELECT 'order', platform, merchant_id, (paid_at AT TIME ZONE 'Asia/Shanghai')::DATE, order_id, NULL, NULL, NULL
    FROM orders
    WHERE paid_at IS NOT NULL
    UNION ALL
    SELECT 'case', platform, merchant_id, (opened_at AT TIME ZONE 'Asia/Shanghai')::DATE, order_id, NULL, NULL, aftersale_id
    FROM aftersales
),
daily AS (SELECT about, platform, merchant_id, day, count(*) AS shipments FROM subjects GROUP BY ALL),
flagged AS (
    SELECT about, s.platform, s.merchant_id, s.day, rule,
           count(*) FILTER (status = 'open') AS violations, count(*) FILTER (status = 'exempt') AS exempt,
           count(*) FILTER (status = 'cleared') AS cleared, count(ever.flag_id) AS flagged
    FROM flags
    JOIN subjects AS s
      ON s.order_id = flags.order_id AND s.carrier IS NOT DISTINCT FROM flags.carrier
     AND s.waybill_no IS NOT DISTINCT FROM flags.waybill_no AND s.aftersale_id IS NOT DISTINCT FROM flags.aftersale_id
    LEFT JOIN (SELECT DISTINCT flag_id FROM flag_log WHERE status = 'open') AS ever ON ever.flag_id = flags.flag_id
    GROUP BY ALL
),
judged AS (SELECT DISTINCT platform, about, rule FROM flagged)
SELECT daily.platform, daily.merchant_id, daily.day, judged.rule, daily.shipments,
       coalesce(violations, 0) AS violations, coalesce(exempt, 0) AS exempt, coalesce(cleared, 0) AS cleared,
       coalesce(violations, 0) / daily.shipments AS rate,
       coalesce(flagged, 0) AS flagged, coalesce(flagged, 0) / daily.shipments AS flagged_rate
FROM daily
JOIN judged ON judged.platform IS NOT DISTINCT FROM daily.platform AND judged.about = daily.about
LEFT JOIN flagged ON flagged.platform IS NOT DISTINCT FROM daily.platform
                 AND flagged.merchant_id IS NOT DISTINCT FROM daily.merchant_id
                 AND flagged.day = daily.day AND flagged.about = daily.about AND flagged.rule = judged.rule;
