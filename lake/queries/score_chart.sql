-- The rows of one series that a chart so many buckets wide must show: of each bucket those with
-- the lowest and highest value and the highest scores, and every anomaly; oldest first.
WITH chosen AS (
  SELECT DISTINCT
    detectionperiodstarttime AS time,
    to_unixtime(CAST(detectionperiodstarttime AS timestamp)) AS seconds,
    measure,
    aggregatedmeasurevalue AS value,
    expectedvalue AS expected,
    expectedlower AS lower,
    expectedupper AS upper,
    anomalyscore AS score,
    anomalydecisionthreshold AS threshold,
    anomalydecision AS decision,
    rawscore AS raw_score,
    modelstage AS stage,
    processeddatapoints AS point,
    resultid AS result_id
  FROM results
  WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
), ends AS (
  SELECT min(seconds) AS first_second, max(seconds) AS last_second FROM chosen
), bucketed AS (
  SELECT
    chosen.*,
    floor((seconds - first_second) * :buckets / (last_second - first_second + 1)) AS bucket
  FROM chosen CROSS JOIN ends
), ranked AS (
  SELECT
    bucketed.*,
    row_number() OVER (PARTITION BY bucket ORDER BY value, result_id) AS from_lowest,
    row_number() OVER (PARTITION BY bucket ORDER BY value DESC, result_id) AS from_highest,
    row_number() OVER (PARTITION BY bucket ORDER BY score DESC, result_id) AS from_strangest,
    row_number() OVER (
      PARTITION BY bucket ORDER BY coalesce(raw_score, 0) DESC, result_id
    ) AS from_rarest
  FROM bucketed
)
SELECT
  time, measure, value, expected, lower, upper, score, threshold, decision, raw_score, stage,
  point, result_id
FROM ranked
WHERE from_lowest = 1 OR from_highest = 1 OR from_strangest = 1 OR from_rarest = 1 OR decision = 1
ORDER BY time, result_id
