-- Records a day that were too late, and that could not be used; detector '' means every one.
WITH refused AS (
  SELECT "date" AS day, detectorname AS detector, 1 AS late, 0 AS dead
  FROM late
  WHERE "date" BETWEEN :first_date AND :last_date
    AND eventtime >= :from_time
    AND eventtime < :to_time
    AND (:series = '' OR timeseriesid = :series)
  UNION ALL
  SELECT "date" AS day, coalesce(detectorname, '') AS detector, 0 AS late, 1 AS dead
  FROM dead_letters
  WHERE "date" BETWEEN :first_date AND :last_date
    AND "time" >= :from_time
    AND "time" < :to_time
    AND :series = ''
)
SELECT day, detector, CAST(sum(late) AS bigint) AS late, CAST(sum(dead) AS bigint) AS dead
FROM refused
WHERE :detector = '' OR detector = :detector
GROUP BY day, detector
ORDER BY day, detector
